"""The codec of JSOC's CGI programs, both directions: bytes in, typed values out, no socket.

One module per program or format; our server, our upstream client and the simulator share them. Nothing here
does I/O, knows the time, or keeps state.

    text       the characters between the quotes of a JSON answer
    params     query strings and form bodies
    paths      which paths are programs, and the one spelling of each
    info       the requests of jsoc_info, and the answer of rs_summary
    structure  series_struct
    rs_list    rs_list, one list per keyword
    catalogue  show_series and showextseries
    export     jsoc_fetch (its answers: export_answer, export_index) and checkAddress.sh
    show_info  show_info, tab-separated text
    answer     what all decoders share: JSON, members, statuses; and the answer that says what went wrong
"""
